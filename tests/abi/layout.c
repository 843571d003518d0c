/* Prints the layout of every public struct: one member a line, with its offset and its
 * size. */
#include <batchcorder/batchcorder.h>
#include <stdio.h>

#define SHOW(type, member)                                                   \
    printf("%s.%s %zu %zu\n", #type, #member, offsetof(struct type, member), \
           sizeof(((struct type *)0)->member))

int main(void) {
    SHOW(bc_error, code);
    SHOW(bc_error, kind);
    SHOW(bc_error, reserved);
    SHOW(bc_error, message);
    SHOW(bc_hook_state, data);
    SHOW(bc_hooks, enter);
    SHOW(bc_hooks, leave);
    SHOW(bc_hooks, poll);
    SHOW(bc_hooks, context);
    SHOW(bc_cache_options, struct_size);
    SHOW(bc_cache_options, memory_capacity);
    SHOW(bc_cache_options, disk_capacity);
    SHOW(bc_cache_options, max_readers);
    SHOW(bc_cache_options, prefetch);
    SHOW(bc_cache_options, disk_path);
    SHOW(bc_cache_options, record_path);
    SHOW(bc_cache_options, hooks);
    SHOW(bc_cache_options, write_policy);
    SHOW(bc_cache_options, compression);
    SHOW(bc_cache_options, checksum);
    SHOW(bc_cache_options, durable);
    SHOW(bc_cache_options, resume);
    SHOW(bc_cache_options, statistics);
    SHOW(bc_cache_options, key);
    SHOW(bc_stats, struct_size);
    SHOW(bc_stats, state);
    SHOW(bc_stats, exhausted);
    SHOW(bc_stats, batches);
    SHOW(bc_stats, rows);
    SHOW(bc_stats, bytes);
    SHOW(bc_stats, evicted);
    SHOW(bc_stats, memory_bytes);
    SHOW(bc_stats, memory_capacity);
    SHOW(bc_stats, disk_bytes);
    SHOW(bc_stats, disk_capacity);
    SHOW(bc_stats, source_calls);
    SHOW(bc_stats, source_ns);
    SHOW(bc_stats, readers);
    SHOW(bc_stats, waiting);
    SHOW(bc_stats, memory_hits);
    SHOW(bc_stats, disk_hits);
    SHOW(bc_stats, resumed);
    SHOW(bc_reader_options, struct_size);
    SHOW(bc_reader_options, start);
    SHOW(bc_reader_options, stop);
    SHOW(bc_reader_options, step);
    SHOW(bc_reader_options, columns);
    SHOW(bc_reader_options, n_columns);
    SHOW(bc_batch_info, number);
    SHOW(bc_batch_info, rows);
    SHOW(bc_batch_info, in_memory);
    SHOW(bc_batch_info, reserved);
    SHOW(bc_file_options, struct_size);
    SHOW(bc_file_options, max_batches);
    SHOW(bc_file_options, hooks);
    SHOW(bc_file_options, file);
    SHOW(bc_file_options, verify);
    SHOW(bc_file_options, partial);
    SHOW(bc_file_options, follow);
    SHOW(bc_file_options, read_into_memory);
    SHOW(bc_file_options, writable);
    SHOW(bc_save_options, struct_size);
    SHOW(bc_save_options, overwrite);
    SHOW(bc_save_options, durable);
    SHOW(bc_file_info, struct_size);
    SHOW(bc_file_info, kind);
    SHOW(bc_file_info, complete);
    SHOW(bc_file_info, checksum);
    SHOW(bc_file_info, compression);
    SHOW(bc_file_info, bytes);
    SHOW(bc_file_info, dictionary_batches);
    SHOW(bc_file_info, dictionary_bytes);
    SHOW(bc_takeover, begin);
    SHOW(bc_takeover, release);
    SHOW(bc_takeover, context);
    SHOW(bc_fork_calls, before);
    SHOW(bc_fork_calls, in_parent);
    SHOW(bc_fork_calls, in_child);
    SHOW(bc_fork_calls, context);
    return 0;
}
