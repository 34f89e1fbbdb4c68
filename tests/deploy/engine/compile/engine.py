"""libds_engine.so from Python, through its C interface."""
import ctypes

import numpy as np

TYPES = {1: np.float32, 2: np.uint8, 3: np.int32, 4: np.int64, 5: np.int8, 6: np.bool_}


class Port(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("type", ctypes.c_int), ("rank", ctypes.c_int), ("dims", ctypes.POINTER(ctypes.c_uint32)),
                ("data", ctypes.c_void_p), ("bytes", ctypes.c_size_t), ("scale", ctypes.c_float), ("zero_point", ctypes.c_int32)]


def array(port):
    """The port's name, and its memory as an array."""
    port = port.contents
    memory = (ctypes.c_char * port.bytes).from_address(port.data)
    return port.name.decode(), np.ndarray([port.dims[i] for i in range(port.rank)], TYPES[port.type], memory)


class Engine:
    def __init__(self, library, path, threads=1):
        self.library = ctypes.CDLL(str(library))
        for function in (self.library.ds_engine_input, self.library.ds_engine_output):
            function.restype = ctypes.POINTER(Port)
        self.model, self.session, error = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.create_string_buffer(512)
        if (self.library.ds_engine_open(str(path).encode(), 1, ctypes.byref(self.model), error, 512)
                or self.library.ds_engine_new_session(self.model, threads, ctypes.byref(self.session), error, 512)):
            raise RuntimeError(error.value.decode())

    def run(self, feed):
        for i in range(self.library.ds_engine_input_count(self.session)):
            name, values = array(self.library.ds_engine_input(self.session, i))
            values[...] = feed[name]
        self.library.ds_engine_run(self.session)
        outputs = range(self.library.ds_engine_output_count(self.session))
        return [array(self.library.ds_engine_output(self.session, i))[1].copy() for i in outputs]

    def close(self):
        self.library.ds_engine_free_session(self.session)
        self.library.ds_engine_close(self.model)
