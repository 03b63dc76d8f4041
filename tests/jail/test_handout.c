/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are open already stand in for those that may not be opened. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "jail/handout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static long long ask(const struct handout *from, int number, const char *path, struct stat *status)
{
    const long long arguments[6] = {AT_FDCWD, (intptr_t)path, (intptr_t)status};
    long long result = 0;
    return handout_answer(from, number, arguments, &result) ? result : -EAGAIN;
}

static const struct handout *handout; /* never freed */

static void files_of_the_folder_are_handed_out(void **state)
{
    char folder[] = "/tmp/nacre-handout-XXXXXX", path[64], other[64], bytes[4];
    struct stat status;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/file", folder);
    int kept = open(path, O_RDWR | O_CREAT, 0600);
    assert_int_equal(write(kept, "abc", 3), 3);
    assert_null(handout_create()); /* no folder: nothing is served */
    int directory = open(folder, O_RDONLY | O_DIRECTORY);
    handout = handout_create();
    assert_non_null(handout);
    snprintf(other, sizeof(other), "%s//file", folder);
    for (unsigned i = 0; i < 3; i++) { /* each time anew */
        int fd = (int)ask(handout, SYS_openat, i ? other : path, NULL);
        assert_true(fd > 2 && fd != kept);
        assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), 3);
        close(fd);
    }
    assert_int_equal(ask(handout, SYS_newfstatat, path, &status), 0);
    assert_int_equal(status.st_size, 3);
    snprintf(other, sizeof(other), "%s/missing", folder);
    assert_int_equal(ask(handout, SYS_openat, other, NULL), -ENOENT);
    snprintf(other, sizeof(other), "%s/file/../../../etc/passwd", folder);
    assert_int_equal(ask(handout, SYS_openat, other, NULL), -ENOENT);
    /* Not its business: forbidden as before. */
    snprintf(other, sizeof(other), "%sx", folder);
    assert_int_equal(ask(handout, SYS_openat, other, NULL), -EAGAIN);
    assert_int_equal(ask(handout, SYS_openat, "/etc/passwd", NULL), -EAGAIN);
    assert_int_equal(ask(handout, SYS_unlinkat, path, NULL), -EAGAIN);
    assert_int_equal(ask(NULL, SYS_openat, path, NULL), -EAGAIN);
    close(directory);
    close(kept);
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(files_of_the_folder_are_handed_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
