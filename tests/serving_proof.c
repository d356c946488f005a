// Runs the signatures of a SavedModel by the loader that TF Serving uses, without Python:
//   serving_proof FOLDER < requests > answers
// A request is "run INPUTS OUTPUTS", then a line an input, "OPERATION PLACE DTYPE RANK SIZES...
// ENTRIES...", and a line an output, "OPERATION PLACE"; DTYPE is a TF_DataType, strings are in
// hexadecimal behind an x. An answer is a line an output, "DTYPE RANK SIZES... ENTRIES...", or
// "error CODE MESSAGE"; answers are printed at once, so that an abort shows which request did it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

#define MOST 32

static void fail(const char* what) {
  fprintf(stderr, "%s\n", what);
  exit(1);
}

static void check(TF_Status* status) {
  if (TF_GetCode(status) != TF_OK) fail(TF_Message(status));
}

static TF_Output read_place(TF_Graph* graph) {
  char name[1024];
  TF_Output place;
  if (scanf("%1023s %d", name, &place.index) != 2) fail("an operation is missing");
  place.oper = TF_GraphOperationByName(graph, name);
  if (!place.oper) fail(name);
  return place;
}

static void read_string(TF_TString* entry) {
  char* hex;
  if (scanf("%ms", &hex) != 1) fail("a string is missing");
  size_t size = strlen(hex) / 2;  // the x is not counted
  char* bytes = malloc(size + 1);
  for (size_t i = 0; i < size; i++) {
    char byte[] = {hex[1 + 2 * i], hex[2 + 2 * i], 0};
    bytes[i] = (char)strtol(byte, NULL, 16);
  }
  TF_StringInit(entry);
  TF_StringCopy(entry, bytes, size);
  free(bytes);
  free(hex);
}

static TF_Tensor* read_tensor(void) {
  int dtype, rank;
  int64_t sizes[8];
  size_t n = 1;
  if (scanf("%d %d", &dtype, &rank) != 2 || rank > 8) fail("a tensor is missing");
  for (int i = 0; i < rank; i++) {
    if (scanf("%ld", &sizes[i]) != 1) fail("a size is missing");
    n *= sizes[i];
  }
  size_t width = dtype == TF_STRING ? sizeof(TF_TString) : TF_DataTypeSize(dtype);
  TF_Tensor* tensor = TF_AllocateTensor(dtype, sizes, rank, n * width);
  void* data = TF_TensorData(tensor);
  for (size_t i = 0; i < n; i++) {
    if (dtype == TF_STRING) read_string((TF_TString*)data + i);
    else if (dtype == TF_FLOAT && scanf("%f", (float*)data + i) == 1) continue;
    else if (dtype == TF_DOUBLE && scanf("%lf", (double*)data + i) == 1) continue;
    else if (dtype == TF_INT64 && scanf("%ld", (int64_t*)data + i) == 1) continue;
    else if (dtype == TF_INT32 && scanf("%d", (int32_t*)data + i) == 1) continue;
    else if (dtype == TF_BOOL && scanf("%hhu", (unsigned char*)data + i) == 1) continue;
    else fail("an entry is missing, or of another type");
  }
  return tensor;
}

static void print_tensor(TF_Tensor* tensor) {
  TF_DataType dtype = TF_TensorType(tensor);
  printf("%d %d", dtype, TF_NumDims(tensor));
  for (int i = 0; i < TF_NumDims(tensor); i++) printf(" %ld", TF_Dim(tensor, i));
  for (int64_t i = 0; i < TF_TensorElementCount(tensor); i++) {
    if (dtype == TF_FLOAT) {
      printf(" %.9g", ((float*)TF_TensorData(tensor))[i]);
      continue;
    }
    if (dtype != TF_STRING) fail("an answer is neither text nor float");
    TF_TString* entry = (TF_TString*)TF_TensorData(tensor) + i;
    const char* bytes = TF_StringGetDataPointer(entry);
    printf(" x");
    for (size_t j = 0; j < TF_StringGetSize(entry); j++) printf("%02x", (unsigned char)bytes[j]);
  }
  printf("\n");
}

static void print_error(TF_Status* status) {
  printf("error %d ", TF_GetCode(status));
  for (const char* c = TF_Message(status); *c; c++) putchar(*c < ' ' || *c > '~' ? '?' : *c);
  printf("\n");
}

int main(int argc, char** argv) {
  if (argc != 2) fail("usage: serving_proof FOLDER");
  const char* tags[] = {"serve"};
  TF_Status* status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  TF_Session* session = TF_LoadSessionFromSavedModel(TF_NewSessionOptions(), NULL, argv[1], tags, 1,
                                                     graph, NULL, status);
  check(status);
  int n_inputs, n_outputs;
  while (scanf(" run %d %d", &n_inputs, &n_outputs) == 2) {
    TF_Output inputs[MOST], outputs[MOST];
    TF_Tensor *sent[MOST], *got[MOST];
    if (n_inputs > MOST || n_outputs > MOST) fail("too many tensors");
    for (int i = 0; i < n_inputs; i++) inputs[i] = read_place(graph), sent[i] = read_tensor();
    for (int i = 0; i < n_outputs; i++) outputs[i] = read_place(graph);
    TF_SessionRun(session, NULL, inputs, sent, n_inputs, outputs, got, n_outputs, NULL, 0, NULL,
                  status);
    if (TF_GetCode(status) != TF_OK) print_error(status);
    for (int i = 0; i < n_inputs; i++) TF_DeleteTensor(sent[i]);
    for (int i = 0; i < n_outputs && TF_GetCode(status) == TF_OK; i++) {
      print_tensor(got[i]);
      TF_DeleteTensor(got[i]);
    }
    fflush(stdout);
  }
  return 0;
}
