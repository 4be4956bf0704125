"""LightGBM: the trainer stage, a strict reader of its model text, our own exporter to ONNX, and the parity check."""
