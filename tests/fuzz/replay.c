/* Runs a fuzz target with the files of a directory, in a build without a fuzzer. */
#include <dirent.h>
#include <stdint.h>
#include <string.h>

#include "tap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int is_input(const struct dirent *entry) { return entry->d_name[0] != '.'; }

static uint8_t *read_input(const char *path, size_t *out_size) {
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0);
    long size = ftell(file);
    CHECK(size >= 0 && fseek(file, 0, SEEK_SET) == 0);
    /* An allocation of the exact size, for a sanitizer. */
    uint8_t *bytes = malloc(size == 0 ? 1 : (size_t)size);
    CHECK(bytes != NULL && fread(bytes, 1, (size_t)size, file) == (size_t)size);
    (void)fclose(file);
    *out_size = (size_t)size;
    return bytes;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    struct dirent **entries;
    int n = scandir(argv[1], &entries, is_input, alphasort);
    CHECK(n >= 0);
    printf("1..%d\n", n + 1);
    printf("ok 1 - nothing\n");
    CHECK(LLVMFuzzerTestOneInput((const uint8_t *)"", 0) == 0);
    for (int i = 0; i < n; i++) {
        char path[4096];
        (void)snprintf(path, sizeof(path), "%s/%s", argv[1], entries[i]->d_name);
        size_t size;
        uint8_t *bytes = read_input(path, &size);
        CHECK(LLVMFuzzerTestOneInput(bytes, size) == 0);
        printf("ok %d - %s\n", i + 2, entries[i]->d_name);
        (void)fflush(stdout);
        free(bytes);
        free(entries[i]);
    }
    free(entries);
    return EXIT_SUCCESS;
}
