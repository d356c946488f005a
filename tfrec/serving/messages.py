"""The official messages of TensorFlow Serving, without TensorFlow.

They are in a private descriptor pool, so that this module and `tensorflow_serving` can be imported
in one process; their wire format is the same.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tfrec.serving.descriptor_set import PATH

_POOL = descriptor_pool.DescriptorPool()
for _file in descriptor_pb2.FileDescriptorSet.FromString(PATH.read_bytes()).file:
    _POOL.Add(_file)


def _message(name: str):
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


TensorProto = _message("tensorflow.TensorProto")
Example = _message("tensorflow.Example")
PredictRequest = _message("tensorflow.serving.PredictRequest")
PredictResponse = _message("tensorflow.serving.PredictResponse")
GetModelStatusRequest = _message("tensorflow.serving.GetModelStatusRequest")
GetModelStatusResponse = _message("tensorflow.serving.GetModelStatusResponse")
GetModelMetadataRequest = _message("tensorflow.serving.GetModelMetadataRequest")
GetModelMetadataResponse = _message("tensorflow.serving.GetModelMetadataResponse")
SignatureDefMap = _message("tensorflow.serving.SignatureDefMap")
PredictionLog = _message("tensorflow.serving.PredictionLog")
ModelServerConfig = _message("tensorflow.serving.ModelServerConfig")
VersionState = _POOL.FindEnumTypeByName(
    "tensorflow.serving.ModelVersionStatus.State"
).values_by_number
DataType = _POOL.FindEnumTypeByName("tensorflow.DataType").values_by_name
