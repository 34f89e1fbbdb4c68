/* The edge engine's C interface: open a .dsm file, fill its inputs, run it, read its outputs.
 *
 * Functions that can fail return 0 where all is well; otherwise they write what is wrong, where and
 * how to mend it into `error` (cut to error_size bytes, always ended by 0; may be null). A model
 * may be used by any number of sessions in any threads; a session by one thread at a time. */
#ifndef DS_ENGINE_H_
#define DS_ENGINE_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DS_ENGINE_API __attribute__((visibility("default")))
#else
#define DS_ENGINE_API
#endif

typedef struct ds_engine_model ds_engine_model;
typedef struct ds_engine_session ds_engine_session;

typedef enum {
  DS_ENGINE_FLOAT32 = 1,
  DS_ENGINE_UINT8 = 2, /* codes: real = scale * (code - zero_point) */
  DS_ENGINE_INT32 = 3,
  DS_ENGINE_INT64 = 4,
  DS_ENGINE_INT8 = 5,
  DS_ENGINE_BOOL = 6
} ds_engine_type;

/* An input or output. Its memory is the session's and dense: `dims` outermost first. An input's
 * stays where it is, and holds what was written into it. An output's holds the results until the
 * next run or set_shape. With another shape both have other `dims` and `bytes`, and an output
 * another `data`. */
typedef struct {
  const char* name;
  ds_engine_type type;
  int rank;
  const uint32_t* dims;
  void* data;
  size_t bytes;
  float scale;
  int32_t zero_point;
} ds_engine_port;

/* Maps the file and verifies its tables; with verify_weights its weights' hash, too. */
DS_ENGINE_API int ds_engine_open(const char* path, int verify_weights, ds_engine_model** model,
                                 char* error, size_t error_size);
/* Sessions that still are there keep what they need. Null is fine. */
DS_ENGINE_API void ds_engine_close(ds_engine_model* model);

/* `threads`: 1 to 256, the caller's included. All memory that running takes is allocated here, but
 * for what a further shape needs when it is set for the first time. */
DS_ENGINE_API int ds_engine_new_session(const ds_engine_model* model, int threads,
                                        ds_engine_session** session, char* error,
                                        size_t error_size);
DS_ENGINE_API void ds_engine_free_session(ds_engine_session* session);

DS_ENGINE_API int ds_engine_input_count(const ds_engine_session* session);
DS_ENGINE_API int ds_engine_output_count(const ds_engine_session* session);
/* Null where there is no such number. */
DS_ENGINE_API const ds_engine_port* ds_engine_input(const ds_engine_session* session, int number);
DS_ENGINE_API const ds_engine_port* ds_engine_output(const ds_engine_session* session, int number);

/* A file holds a plan for each shape that it was written for (ds_export --batch, --input-shape); a
 * session begins with the first. `dims`: the extents of all inputs, those of one behind another's,
 * `count` numbers in all. What the inputs hold is undefined afterwards. Fails where the file has no
 * such shape; the error names those that it has, and the session keeps the one that it had. */
DS_ENGINE_API int ds_engine_set_shape(ds_engine_session* session, const uint32_t* dims,
                                      size_t count, char* error, size_t error_size);
DS_ENGINE_API int ds_engine_shape_count(const ds_engine_session* session);
/* The extents of an input in one of the shapes, as many as the input's rank. Null where there is no
 * such shape or input. */
DS_ENGINE_API const uint32_t* ds_engine_shape_dims(const ds_engine_session* session, int shape,
                                                   int input);

/* Computes the outputs from the inputs, as both lie in the ports' memory. */
DS_ENGINE_API void ds_engine_run(ds_engine_session* session);

#ifdef __cplusplus
}
#endif

#endif /* DS_ENGINE_H_ */
