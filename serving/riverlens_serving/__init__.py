"""The embedded model server: TensorFlow Serving's gRPC and HTTP APIs on real SavedModels, in one process.

For laptops, tests and the demo: what works here works against the `tensorflow/serving` container, with the
same flags' names, status codes and texts, so that going to a GPU is a change of address. What is served, and
where it differs, is told in serving/README.md.

Map of the modules, from the wire inwards:

    run, flags, flag_types  the command and its flags; config: its settings as value objects
    server                  the server's life: load, listen, answer, drain
    grpc_server, services   the gRPC port; its methods on bytes; health
    http_server, rest       the HTTP port; its requests; json_*: JSON to arrays and messages, and back
    inference               a checked request on one loaded version, whatever brought it
    prediction, examples    Predict; Classify and Regress: checks, texts, results; metadata
    tensors, wire           TensorProto <-> numpy, and protobuf bytes written by hand
    lookup, registry        which version answers; states, labels, reference counts
    fleet, keeper           all models, and one model's versions; labels, versions: the decisions (pure)
    loader, warmup, session a SavedModel behind a TF1 session, the runtime TensorFlow Serving answers with
    batching, batching_*    TensorFlow Serving's batch scheduler: threads; queue, merging (pure), parameters
    metrics                 what is counted, under TensorFlow Serving's names
    model_config, config_watch, side_configs, text_proto   the text files
    export, inspect, street models: made, looked at, trained for the demo
"""
