from djl_python import Input


def handle(inputs: Input) -> Input:
    return inputs
