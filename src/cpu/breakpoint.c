/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/breakpoint.h"

enum { BREAKPOINTS = 4 };

/* R/W field of DR7 */
enum { STOP_EXECUTE, STOP_WRITE, STOP_PORT, STOP_ACCESS };

static unsigned stops_at(const struct vcpu *vcpu, unsigned i)
{
    return vcpu->dr[7] >> (16 + i * 4) & 3;
}

static bool is_armed(const struct vcpu *vcpu, unsigned i)
{
    return vcpu->dr[7] >> (i * 2) & 3;
}

/* Does it watch bytes of [start, start + size)? What it watches is aligned to its own length. */
static bool overlaps(const struct vcpu *vcpu, unsigned i, uint64_t start, unsigned size)
{
    static const uint8_t lengths[] = {1, 2, 8, 4};
    uint64_t length = lengths[vcpu->dr[7] >> (18 + i * 4) & 3];
    uint64_t from = vcpu->dr[i] & ~(length - 1);
    return start < from + length && from < start + size;
}

bool breakpoints_watch_memory(const struct vcpu *vcpu)
{
    for (unsigned i = 0; breakpoints_armed(vcpu) && i < BREAKPOINTS; i++)
        if (is_armed(vcpu, i) && stops_at(vcpu, i) & STOP_WRITE)
            return true;
    return false;
}

uint64_t breakpoints_at(const struct vcpu *vcpu, uint64_t linear)
{
    uint64_t hits = 0;
    for (unsigned i = 0; breakpoints_armed(vcpu) && i < BREAKPOINTS; i++)
        if (is_armed(vcpu, i) && stops_at(vcpu, i) == STOP_EXECUTE && vcpu->dr[i] == linear)
            hits |= BIT(i);
    return hits;
}

void breakpoints_note_memory(struct vcpu *vcpu, uint64_t linear, unsigned size, bool write)
{
    for (unsigned i = 0; unlikely(breakpoints_armed(vcpu)) && i < BREAKPOINTS; i++) {
        unsigned kind = stops_at(vcpu, i);
        if (is_armed(vcpu, i) && (kind == STOP_ACCESS || (kind == STOP_WRITE && write)) &&
            overlaps(vcpu, i, linear, size))
            vcpu->watch_hits |= BIT(i);
    }
}

void breakpoints_note_port(struct vcpu *vcpu, uint16_t port, unsigned size)
{
    for (unsigned i = 0; unlikely(breakpoints_armed(vcpu)) && i < BREAKPOINTS; i++)
        if (vcpu->cr4 & CR4_DE && is_armed(vcpu, i) && stops_at(vcpu, i) == STOP_PORT &&
            overlaps(vcpu, i, port, size))
            vcpu->watch_hits |= BIT(i);
}
