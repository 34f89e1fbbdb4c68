"""A gRPC client that knows nothing of ours: calls methods with bytes that it is given, and says what came back.

    plain_client.py CASES.json

CASES: a list of {"name", "address", "authority", "identity" (PEM files; "" for none), "method", "request" (hexadecimal)}.
Prints a line each: NAME CODE DETAILS, tab-separated.
"""
import json
import pathlib
import sys

try:
    import grpc
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)


def call(case):
    identity = pathlib.Path(case["identity"]).read_bytes() if case["identity"] else None
    credentials = grpc.ssl_channel_credentials(pathlib.Path(case["authority"]).read_bytes(), identity, identity)
    with grpc.secure_channel(case["address"], credentials) as channel:
        method = channel.unary_unary("/ds.federated.v1.Federation/" + case["method"])
        try:
            return "OK", method(bytes.fromhex(case["request"]), timeout=10).hex()
        except grpc.RpcError as error:
            return error.code().name, " ".join(error.details().split())


for each in json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")):
    print(each["name"], *call(each), sep="\t")
