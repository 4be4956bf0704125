"""Ray Serve around onnxruntime, with `@serve.batch`. MODEL names the file: `python rayserve_app.py PORT REPLICAS`."""

import os
import signal
import sys

import numpy as np
import onnxruntime
import ray
from ray import serve


@serve.deployment(num_replicas=int(sys.argv[2]), max_ongoing_requests=256, ray_actor_options={"num_cpus": 0.5})
class Trees:
    def __init__(self, path: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.001)
    async def together(self, rows: list[list[list[float]]]) -> list[list[list[float]]]:
        features = np.concatenate([np.array(one, dtype=np.float32) for one in rows])
        scores = self.session.run(None, {"features": features})[0]
        return [part.tolist() for part in np.split(scores, np.cumsum([len(one) for one in rows])[:-1])]

    async def __call__(self, request) -> dict[str, list[list[float]]]:
        return {"predictions": await self.together((await request.json())["instances"])}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Trees.bind(os.environ["MODEL"]), name="trees", route_prefix="/predict")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
