"""Import ONNX graphs (MLPs, CNNs, ResNets, transformer encoders) as torch modules that answer as they do.

`importer.import_onnx` is the way in. Nothing here imports torch or onnx before it is called.
"""
