/* SPDX-License-Identifier: Apache-2.0 */
/* The checks of nacre doctor. */
#ifndef NACRE_CLI_DOCTOR_H
#define NACRE_CLI_DOCTOR_H

/* What a check has found. */
struct finding {
    char state[160];    /* one line */
    const char *advice; /* what to do about it; NULL: nothing */
};

struct check {
    const char *what; /* NULL ends the table */
    void (*look)(struct finding *finding);
};

extern const struct check host_checks[];

void check_kvm(struct finding *finding);

#endif
