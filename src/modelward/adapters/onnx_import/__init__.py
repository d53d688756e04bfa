"""Import ONNX graphs of MLP, CNN and ResNet kind as torch modules that agree with onnxruntime.

`importer.import_onnx` is the way in. Nothing here imports torch or onnx before it is called.
"""
