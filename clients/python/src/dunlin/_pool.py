"""The descriptor pool of the generated code: ours alone, so that no other package's protos clash with it."""

from google.protobuf import any_pb2, descriptor_pool, duration_pb2, message_factory, timestamp_pb2

POOL = descriptor_pool.DescriptorPool()
# What our files import must be in the same pool. The wire is the same; only the Python classes differ.
for _known in (any_pb2, duration_pb2, timestamp_pb2):
    POOL.AddSerializedFile(_known.DESCRIPTOR.serialized_pb)
    for _name in _known.DESCRIPTOR.message_types_by_name:
        # protobuf in pure Python makes no class by itself.
        message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"google.protobuf.{_name}"))
