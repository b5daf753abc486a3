"""Our file of the protocol: protoc makes our description of it, and fields have the numbers that others' stubs have."""

import os
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2
from grpc_tools import protoc
from kserve.protocol.grpc import grpc_predict_v2_pb2

folder = Path(os.environ["PROTO_FOLDER"])
made = Path(tempfile.mkdtemp()) / "made.binpb"
assert protoc.main(["", f"-I{folder}", f"--descriptor_set_out={made}", "open_inference.proto"]) == 0
ours, fresh = (
    descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes()) for path in (folder / "open_inference.binpb", made)
)
assert ours == fresh, "make the .binpb again, as the .proto says"
official = descriptor_pb2.FileDescriptorProto()
grpc_predict_v2_pb2.DESCRIPTOR.CopyToProto(official)


def fields(messages: object, prefix: str = "") -> dict[str, tuple[int, int, int]]:
    found = {}
    for message in messages:
        name = f"{prefix}{message.name}"
        found |= {f"{name}.{field.name}": (field.number, field.type, field.label) for field in message.field}
        found |= fields(message.nested_type, f"{name}.")
    return found


theirs = fields(official.message_type)
mine = fields(ours.file[0].message_type)
later = {"InferParameter.double_param", "InferParameter.uint64_param"}  # Triton's
assert {name: number for name, number in mine.items() if theirs.get(name) != number}.keys() <= later
assert len(mine) > 60
