"""BentoML around onnxruntime, with adaptive batching. MODEL names the file: `bentoml serve bentoml_app:Trees`."""

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=2, traffic={"timeout": 60, "max_concurrency": 256})
class Trees:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
    def predict(self, instances: np.ndarray) -> np.ndarray:
        return self.session.run(None, {"features": instances.astype(np.float32)})[0]
