#include "ipc/other_formats.h"

#include <stdbool.h>
#include <string.h>

#define READ_IT(reader) "read it with " reader ", and record the batches"
#define FEATHER "read it with a Feather reader, and write it again as an Arrow file"
#define DECOMPRESS "decompress it first"
#define UNPACK "unpack it first"

/* `bytes` at offset `at` identify a format. If one entry is a prefix of another, the
 * longer one comes first. */
static const struct signature {
    size_t at;
    size_t size;
    const char *bytes;
    struct bc_other_format format;
} signatures[] = {
    {0, 4, "FEA1", {"a Feather V1 file", FEATHER}},
    {0, 4, "PAR1", {"a Parquet file", READ_IT("a Parquet reader")}},
    {0, 4, "PARE", {"an encrypted Parquet file", READ_IT("a Parquet reader")}},
    {0, 3, "ORC", {"an ORC file", READ_IT("an ORC reader")}},
    {0, 4, "Obj\1", {"an Avro file", READ_IT("an Avro reader")}},
    {0, 4, "VTXF", {"a Vortex file", READ_IT("a Vortex reader")}},
    {0, 6, "\x93NUMPY", {"a NumPy file", READ_IT("NumPy")}},
    {0, 8, "\x89HDF\r\n\x1a\n", {"an HDF5 file", READ_IT("an HDF5 reader")}},
    {0, 16, "SQLite format 3\0", {"an SQLite database", READ_IT("SQLite")}},
    {8, 4, "DUCK", {"a DuckDB database", READ_IT("DuckDB")}},
    {0, 3, "\x1f\x8b\x08", {"compressed with gzip", DECOMPRESS}},
    {0, 4, "\x28\xb5\x2f\xfd", {"compressed with zstd", DECOMPRESS}},
    {0, 4, "\x04\x22\x4d\x18", {"compressed with lz4", DECOMPRESS}},
    {0, 3, "BZh", {"compressed with bzip2", DECOMPRESS}},
    {0, 6, "\xfd\x37zXZ\0", {"compressed with xz", DECOMPRESS}},
    {0, 10, "\xff\x06\0\0sNaPpY", {"compressed with snappy", DECOMPRESS}},
    {0, 4, "\x02\x21\x4c\x18", {"compressed with lz4", DECOMPRESS}},
    {0, 4, "PK\3\4", {"a zip archive", UNPACK}},
    {0, 4, "PK\5\6", {"a zip archive", UNPACK}},
    {0, 6, "7z\xbc\xaf\x27\x1c", {"a 7z archive", UNPACK}},
    {0, 6, "Rar!\x1a\x07", {"a rar archive", UNPACK}},
    {0, 5, "%PDF-", {"a PDF document", READ_IT("a program that extracts its tables")}},
    {0, 10, "MATLAB 5.0", {"a MATLAB file", READ_IT("a MATLAB reader")}},
    {257, 5, "ustar", {"a tar archive", UNPACK}},
};

static bool is_space(uint8_t byte) {
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

/* Fewer bytes may be of any format. */
enum { TEXT_MIN = 8 };

/* Returns whether the bytes may be text: TEXT_MIN or more, without control characters. */
static bool may_be_text(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if ((bytes[i] < ' ' && !is_space(bytes[i])) || bytes[i] == 0x7f) return false;
    }
    return size >= TEXT_MIN;
}

static struct bc_other_format text_format(const uint8_t *bytes, size_t size) {
    static const char mark[] = "\xef\xbb\xbf"; /* some programs write it first */
    if (size >= 3 && memcmp(bytes, mark, 3) == 0) {
        bytes += 3;
        size -= 3;
    }
    if (!may_be_text(bytes, size)) return (struct bc_other_format){NULL, NULL};
    size_t first = 0;
    while (first < size && is_space(bytes[first])) first++;
    if (first < size && (bytes[first] == '{' || bytes[first] == '[')) {
        return (struct bc_other_format){"JSON", READ_IT("a JSON reader")};
    }
    if (first < size && bytes[first] == '<') {
        return (struct bc_other_format){"HTML or XML", "read its text"};
    }
    return (struct bc_other_format){"text, perhaps CSV", READ_IT("a CSV reader")};
}

struct bc_other_format bc__other_format(const uint8_t *head, size_t size) {
    for (size_t i = 0; i < sizeof(signatures) / sizeof(signatures[0]); i++) {
        const struct signature *it = &signatures[i];
        if (it->at + it->size > size) continue;
        if (memcmp(head + it->at, it->bytes, it->size) == 0) return it->format;
    }
    return text_format(head, size);
}
