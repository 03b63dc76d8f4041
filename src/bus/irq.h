/* SPDX-License-Identifier: Apache-2.0 */
/* An interrupt line: a wire from a device to whatever listens. Level semantics; edges are seen by
 * the listener. */
#ifndef NACRE_BUS_IRQ_H
#define NACRE_BUS_IRQ_H

#include <stddef.h>

struct irq_line {
    void (*set)(void *opaque, unsigned number, int level);
    void *opaque;
    unsigned number;
};

/* Drives the line to level (0 or 1). A line that is not connected swallows it. Any thread. */
static inline void irq_set(const struct irq_line *line, int level)
{
    if (line->set)
        line->set(line->opaque, line->number, level);
}

static inline void irq_pulse(const struct irq_line *line)
{
    irq_set(line, 1);
    irq_set(line, 0);
}

#endif
