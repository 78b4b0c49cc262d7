"""Caffe's messages, made of caffe.binpb, the compiled form of caffe.proto (`make proto`).

Modules that protobuf's compiler generates are tied to releases of protobuf, and force them on users' environments; a
serialized descriptor is not.
"""

from importlib.resources import files

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.internal import enum_type_wrapper

_POOL = descriptor_pool.DescriptorPool()
_POOL.AddSerializedFile(files("cdeep3m.proto").joinpath("caffe.binpb").read_bytes())
DESCRIPTOR = _POOL.FindFileByName("caffe.proto")

for _message in DESCRIPTOR.message_types_by_name.values():
    globals()[_message.name] = message_factory.GetMessageClass(_message)
for _enum in DESCRIPTOR.enum_types_by_name.values():
    globals()[_enum.name] = enum_type_wrapper.EnumTypeWrapper(_enum)
    globals().update({_value.name: _value.number for _value in _enum.values})
