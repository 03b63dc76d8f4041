/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process jail: what is left to a guest that has taken over a thread of ours. Everything is
 * opened first; then each thread gives up its privileges, the file system (Landlock) and all system
 * calls but those its kind needs (seccomp). docs/security.md says what that promises.
 */
#ifndef NACRE_JAIL_JAIL_H
#define NACRE_JAIL_JAIL_H

#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"

#include <stdbool.h>

enum jail_mode {
    JAIL_ON,  /* a forbidden call ends the process with one line on stderr */
    JAIL_LOG, /* it is carried out after that line; Landlock stays off */
    JAIL_OFF, /* nothing is restricted */
};

/* What some configurations need and others do not get. */
enum jail_need {
    JAIL_NEED_UNIX_SERVER = 1 << 0, /* takes connections on a unix socket */
    JAIL_NEED_UNIX_CLIENT = 1 << 1, /* connects to one again when the other end has gone */
    JAIL_NEED_CONTROL = 1 << 2,     /* a supervisor asks for operations */
    JAIL_NEED_SNAPSHOT = 1 << 3,    /* saves the running machine */
};

#define JAIL_SOCKETS_MAX 3

struct jail_config {
    enum jail_mode mode;
    unsigned needs; /* enum jail_need */
    /* Socket files that the loop's thread removes at the end; NULL where there is none. */
    const char *sockets[JAIL_SOCKETS_MAX];
    int exit_code;   /* of a process that broke out */
    struct log *log; /* may be NULL */
};

struct jail;

/*
 * Prepares the jail, in the first thread, before any other is made: no privileges can be gained
 * from here on, memory is allocated so that the filters suffice. NULL with *error when the host
 * cannot keep what the mode promises. JAIL_OFF needs no jail.
 */
struct jail *jail_create(const struct jail_config *config, struct error *error);
/* When no other thread will enter. The calling thread may be inside, and stays there. */
void jail_destroy(struct jail *jail);

/* What threads enter; NULL for no jail. */
const struct thread_guard *jail_guard(const struct jail *jail);

/* Closes descriptors above 2 that came with the process, and limits how many there may be. When all
 * files are open, on a thread that is not inside yet. */
void jail_close_strangers(void);

/* False in builds with a sanitizer, whose run time makes calls of its own: there is no jail. */
bool jail_supported(void);

/* "on", "log", "off"; NULL past the last. */
const char *jail_mode_name(unsigned mode);
/* -EINVAL with *error. */
int jail_mode_parse(const char *text, enum jail_mode *mode, struct error *error);

/* For nacre doctor: what the host lacks, or NULL. */
const char *jail_seccomp_missing(void);
/* The version of Landlock's interface; 0: none, then *missing says why. */
int jail_landlock_version(const char **missing);

#endif
