"""LitServe around onnxruntime, batched. MODEL names the file: `python litserve_app.py PORT WORKERS`."""

import os
import sys

import litserve
import numpy as np
import onnxruntime


class Trees(litserve.LitAPI):
    def setup(self, device):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])

    def decode_request(self, request):
        return np.array(request["instances"], dtype=np.float32)

    def batch(self, inputs):
        self.lengths = [len(rows) for rows in inputs]
        return np.concatenate(inputs)

    def predict(self, features):
        return self.session.run(None, {"features": features})[0]

    def unbatch(self, output):
        return np.split(output, np.cumsum(self.lengths)[:-1])

    def encode_response(self, output):
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    workers = int(sys.argv[2])
    server = litserve.LitServer(Trees(max_batch_size=64, batch_timeout=0.001), "cpu", workers_per_device=workers)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=workers,
        log_level="warning",
        generate_client_file=False,
    )
