"""Six no-op steps in Prefect 3, with the ephemeral server that it starts by default."""

import sys

from prefect import flow, task

STEPS = int(sys.argv[1])


@task
def step(value):
    return value + 1


@flow
def chain():
    value = 0
    for _ in range(STEPS):
        value = step(value)
    return value


print(chain())
