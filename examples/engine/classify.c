/* The class that a .dsm classifier gives a file of raw floats: classify MODEL.dsm INPUT.f32 */
#include <ds_engine.h>
#include <stdio.h>

int main(int argc, char** argv) {
  char error[512];
  ds_engine_model* model = NULL;
  ds_engine_session* session = NULL;
  FILE* file = argc == 3 ? fopen(argv[2], "rb") : NULL;
  if (file == NULL) return fprintf(stderr, "classify MODEL.dsm INPUT.f32\n"), 2;
  if (ds_engine_open(argv[1], 0, &model, error, sizeof(error)) ||
      ds_engine_new_session(model, 1, &session, error, sizeof(error))) {
    return fprintf(stderr, "%s\n", error), 1;
  }
  const ds_engine_port *in = ds_engine_input(session, 0), *out = ds_engine_output(session, 0);
  if (fread(in->data, 1, in->bytes, file) != in->bytes) {
    return fprintf(stderr, "%s has fewer than %zu bytes\n", argv[2], in->bytes), 1;
  }
  ds_engine_run(session);
  const float* scores = out->data;
  size_t best = 0;
  for (size_t i = 1; i < out->bytes / sizeof(float); ++i)
    best = scores[i] > scores[best] ? i : best;
  printf("class %zu, score %g\n", best, scores[best]);
  fclose(file);
  ds_engine_free_session(session);
  ds_engine_close(model);
  return 0;
}
