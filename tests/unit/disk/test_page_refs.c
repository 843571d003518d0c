/* References to the pages of a file: a page is punched once it is written and unused. */
#include "disk/page_refs.h"
#include "recording_dir.h"

enum { PAGE = 4096, PAGES = 256, SIZE = PAGES * PAGE };

struct scene {
    struct recording_dir dir;
    int file;
    struct bc_page_refs *refs;
};

/* A file of the letter x, none of whose bytes are reported as written yet. */
static void open_scene(struct scene *scene) {
    recording_dir_init(&scene->dir);
    char *bytes = malloc(SIZE);
    CHECK(bytes != NULL);
    memset(bytes, 'x', SIZE);
    file_write(scene->dir.path, bytes, SIZE);
    free(bytes);
    scene->file = open(scene->dir.path, O_RDWR);
    CHECK(scene->file >= 0 && bc__page_refs_new(scene->file, &scene->refs) == 0);
}

static void close_scene(struct scene *scene) {
    bc__page_refs_close(scene->refs);
    bc__page_refs_unref(scene->refs);
    CHECK(close(scene->file) == 0);
    recording_dir_finish(&scene->dir);
}

/* Checks that the pages before `end` are holes, and those from `end` on are not. */
static void check_holes(const struct scene *scene, int64_t end) {
    for (int64_t page = 0; page < PAGES; page++) {
        char byte;
        CHECK(pread(scene->file, &byte, 1, page * PAGE + 17) == 1);
        CHECK(byte == (page * PAGE < end ? 0 : 'x'));
    }
}

/* Returns true if the file system can punch holes. */
static bool can_punch(const struct scene *scene) {
    return bc__page_refs_punched_bytes(scene->refs) > 0;
}

static void test_a_page_of_two_messages(void) {
    struct scene scene;
    open_scene(&scene);
    CHECK(bc__page_refs_add(scene.refs, 0, PAGE + 100) == 0);
    CHECK(bc__page_refs_add(scene.refs, PAGE + 100, SIZE - PAGE - 100) == 0);
    bc__page_refs_written(scene.refs, SIZE);
    bc__page_refs_remove(scene.refs, 0, PAGE + 100);
    check_holes(&scene, 0);
    bc__page_refs_reclaim(scene.refs);
    /* The second page is still in use by the second message. */
    if (can_punch(&scene)) {
        CHECK(bc__page_refs_punched_bytes(scene.refs) == PAGE);
        check_holes(&scene, PAGE);
    }
    bc__page_refs_remove(scene.refs, PAGE + 100, SIZE - PAGE - 100);
    bc__page_refs_reclaim(scene.refs);
    if (can_punch(&scene)) {
        CHECK(bc__page_refs_punched_bytes(scene.refs) == SIZE);
        check_holes(&scene, SIZE);
    }
    close_scene(&scene);
}

static void test_pages_that_are_not_written_stay(void) {
    struct scene scene;
    open_scene(&scene);
    CHECK(bc__page_refs_add(scene.refs, 0, SIZE) == 0);
    bc__page_refs_written(scene.refs, 10 * PAGE + 5);
    bc__page_refs_remove(scene.refs, 0, SIZE);
    bc__page_refs_reclaim(scene.refs);
    if (can_punch(&scene)) check_holes(&scene, 10 * (int64_t)PAGE);
    bc__page_refs_written(scene.refs, SIZE);
    bc__page_refs_reclaim(scene.refs);
    if (can_punch(&scene)) check_holes(&scene, SIZE);
    close_scene(&scene);
}

/* References that outlive the file punch nothing. */
static void test_a_closed_file(void) {
    struct scene scene;
    open_scene(&scene);
    struct bc_page_refs *refs = bc__page_refs_ref(scene.refs);
    CHECK(bc__page_refs_add(refs, 0, SIZE) == 0);
    bc__page_refs_written(refs, SIZE);
    bc__page_refs_close(refs);
    bc__page_refs_remove(refs, 0, SIZE);
    bc__page_refs_reclaim(refs);
    CHECK(bc__page_refs_punched_bytes(refs) == 0);
    check_holes(&scene, 0);
    bc__page_refs_unref(refs);
    close_scene(&scene);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_a_page_of_two_messages),
        TAP_CASE(test_pages_that_are_not_written_stay),
        TAP_CASE(test_a_closed_file),
    };
    return TAP_RUN(cases);
}
