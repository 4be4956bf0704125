"""What people write by hand: FastAPI around onnxruntime, one row of numbers a request. MODEL names the file.

`python benches/serving/fastapi_app.py PORT PROCESSES` serves it. uvicorn's own `--workers` hands its processes a socket
on which asyncio does not switch Nagle's algorithm off, so that each answer would wait 40 ms for an acknowledgement.
"""

import os
import socket
import sys
from functools import cache

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


@cache
def session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])


class Rows(BaseModel):
    instances: list[list[float]]


@app.post("/v1/models/model:predict")
async def predict(rows: Rows) -> dict[str, list[list[float]]]:
    features = np.array(rows.instances, dtype=np.float32)
    return {"predictions": session().run(None, {"features": features})[0].tolist()}


if __name__ == "__main__":
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", int(sys.argv[1])))
    for _ in range(1, int(sys.argv[2])):
        if not os.fork():
            break
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
