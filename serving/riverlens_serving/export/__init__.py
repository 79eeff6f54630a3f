"""`riverlens serving export`: from a trained model's files to a version that any TensorFlow Serving loads.

run, flags, plan        the command, its flags, what it was asked for as value objects
sources                 what kind of model a path holds
graphs, checkpoints     frozen graph or checkpoint -> SavedModel, its signature found in the graph
keras_models            .keras, .h5 -> SavedModel
build                   the steps in their order
    preprocessing           decode, resize, range and colours as operations in the graph
    signatures              a SavedModel's file, its signatures in plain words
rework                  TF1 SavedModel: preprocessing and `riverlens_info` put into its graph
rewrap                  TF2 SavedModel: the same by loading and saving again
facts                   what `riverlens_info` says (pure)
check, warmup           run each signature as a server would; requests to warm it up with
folder                  version numbers, written beside and renamed into place
"""
