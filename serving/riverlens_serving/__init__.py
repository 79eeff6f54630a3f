"""The embedded model server: TensorFlow Serving's gRPC protocol on real SavedModels, in one Python process.

For laptops, tests and the demo: what works here works against the `tensorflow/serving` container, with the
same flags' names, status codes and texts, so that going to a GPU is a change of address. Differences that
remain are listed in `riverlens_serving.run`.

Map of the modules, from the wire inwards:

    run, flags, config      the command, its flags, its settings as value objects
    server, services        the gRPC server and its raw-bytes handlers
    prediction, metadata    one request against one loaded model: checks, texts, reply
    tensors, wire           TensorProto <-> numpy, and protobuf bytes written by hand
    lookup, registry        which version answers; states, reference counts
    versions, keeper        which versions should be loaded (pure); the thread that loads and unloads them
    session, loader         a SavedModel behind a TF1 session, the runtime TensorFlow Serving answers with
    batching, batching_*    TensorFlow Serving's batch scheduler: threads; queue, merging (pure), parameters
    text_proto, model_config, parent, status
"""
