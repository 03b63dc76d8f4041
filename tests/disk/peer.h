/* SPDX-License-Identifier: Apache-2.0 */
/* qemu-img and qemu-io as the other opinion on an image. */
#ifndef TESTS_DISK_PEER_H
#define TESTS_DISK_PEER_H

#include "disk/image.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Runs a shell command; its exit status. What it prints appears only when it fails. */
__attribute__((format(printf, 1, 2))) static inline int peer_run(const char *format, ...)
{
    char command[8192], quiet[8400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof(command), format, arguments);
    va_end(arguments);
    snprintf(quiet, sizeof(quiet),
             "out=$( { %s; } 2>&1 ); s=$?; [ $s = 0 ] || echo \"$out\" >&2; "
             "exit $s",
             command);
    int status = system(quiet);
    return status == -1 ? -1 : status >> 8;
}

/* A new folder, in memory where that is possible: qemu's tools flush a lot. */
static inline char *peer_folder(char *folder)
{
    strcpy(folder,
           access("/dev/shm", W_OK) ? "/tmp/nacre-qcow2-XXXXXX" : "/dev/shm/nacre-qcow2-XXXXXX");
    return mkdtemp(folder);
}

/* A generator that gives the same numbers everywhere. */
static inline uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}

#endif
