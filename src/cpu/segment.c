/* SPDX-License-Identifier: Apache-2.0 */
/* Loading data segment registers, LDTR and TR; limit checks; LAR, LSL, VERR, VERW; the port bitmap.
 */
#include "cpu/descriptor.h"
#include "cpu/exception.h"
#include "cpu/mmu.h"
#include "cpu/segmentation.h"

void segment_set_real(struct vcpu *vcpu, unsigned segment, uint16_t selector)
{
    struct segment *target = &vcpu->segments[segment];
    target->selector = selector;
    target->base = (uint64_t)selector << 4;
    if (vcpu_v86(vcpu)) {
        target->limit = 0xffff;
        target->attributes = SEGMENT_PRESENT | 3 << SEGMENT_DPL_SHIFT | SEGMENT_NON_SYSTEM |
                             SEGMENT_WRITABLE | SEGMENT_ACCESSED;
    } else if (segment == SEG_CS) {
        /* Real mode keeps limits ("unreal mode"), but code becomes writable again. */
        target->attributes = SEGMENT_PRESENT | SEGMENT_NON_SYSTEM | SEGMENT_WRITABLE |
                             SEGMENT_ACCESSED | SEGMENT_CODE | (target->attributes & SEGMENT_BIG);
    } else if (!(target->attributes & SEGMENT_PRESENT)) {
        /* A null selector from protected mode left nothing worth keeping. */
        target->limit = 0xffff;
        target->attributes =
            SEGMENT_PRESENT | SEGMENT_NON_SYSTEM | SEGMENT_WRITABLE | SEGMENT_ACCESSED;
    }
    vcpu_update_mode(vcpu);
}

static bool load_null(struct vcpu *vcpu, unsigned segment, uint16_t selector)
{
    bool allowed = segment != SEG_SS ||
                   (vcpu_64bit(vcpu) && vcpu->cpl < 3 && selector_rpl(selector) == vcpu->cpl);
    if (!allowed)
        return raise_error(vcpu, VECTOR_GP, 0);
    struct segment null = {.selector = selector};
    if (segment == SEG_SS) /* usable in 64-bit mode: carries the privilege level */
        null.attributes = (uint16_t)(vcpu->cpl << SEGMENT_DPL_SHIFT);
    segment_set(vcpu, segment, &null);
    return true;
}

bool segment_load(struct vcpu *vcpu, unsigned segment, uint16_t selector)
{
    if (!vcpu_protected(vcpu) || vcpu_v86(vcpu)) {
        segment_set_real(vcpu, segment, selector);
        return true;
    }
    if (selector_is_null(selector))
        return load_null(vcpu, segment, selector);
    struct descriptor descriptor;
    if (segment == SEG_SS) {
        if (!stack_segment_check(vcpu, selector, vcpu->cpl, VECTOR_GP, &descriptor))
            return false;
    } else {
        if (!descriptor_read(vcpu, selector, VECTOR_GP, &descriptor))
            return false;
        bool conforming = descriptor_is_code(&descriptor) && descriptor_is_conforming(&descriptor);
        unsigned dpl = descriptor_dpl(&descriptor);
        if (!descriptor_is_readable(&descriptor) ||
            (!conforming && (selector_rpl(selector) > dpl || vcpu->cpl > dpl)))
            return raise_error(vcpu, VECTOR_GP, selector_error(selector));
        if (!descriptor_present(&descriptor))
            return raise_error(vcpu, VECTOR_NP, selector_error(selector));
    }
    if (!descriptor_set_type(vcpu, &descriptor, SEGMENT_ACCESSED))
        return false;
    struct segment value = descriptor_segment(&descriptor, selector);
    segment_set(vcpu, segment, &value);
    return true;
}

bool segment_load_ldtr(struct vcpu *vcpu, uint16_t selector)
{
    if (selector_is_null(selector)) {
        vcpu->ldtr = (struct segment){.selector = selector};
        return true;
    }
    struct descriptor descriptor;
    if (selector & 4)
        return raise_error(vcpu, VECTOR_GP, selector_error(selector));
    if (!descriptor_read(vcpu, selector, VECTOR_GP, &descriptor))
        return false;
    if (!descriptor_is_system(&descriptor) || descriptor_type(&descriptor) != DESCRIPTOR_LDT)
        return raise_error(vcpu, VECTOR_GP, selector_error(selector));
    if (!descriptor_present(&descriptor))
        return raise_error(vcpu, VECTOR_NP, selector_error(selector));
    vcpu->ldtr = descriptor_segment(&descriptor, selector);
    return true;
}

bool segment_load_tr(struct vcpu *vcpu, uint16_t selector)
{
    struct descriptor descriptor;
    if (selector_is_null(selector) || selector & 4)
        return raise_error(vcpu, VECTOR_GP, selector_error(selector));
    if (!descriptor_read(vcpu, selector, VECTOR_GP, &descriptor))
        return false;
    unsigned type = descriptor_type(&descriptor);
    bool available = type == DESCRIPTOR_TSS_AVAILABLE ||
                     (type == DESCRIPTOR_TSS16_AVAILABLE && !vcpu_long_mode(vcpu));
    if (!descriptor_is_system(&descriptor) || !available)
        return raise_error(vcpu, VECTOR_GP, selector_error(selector));
    if (!descriptor_present(&descriptor))
        return raise_error(vcpu, VECTOR_NP, selector_error(selector));
    if (!descriptor_set_type(vcpu, &descriptor, 2))
        return false;
    vcpu->tr = descriptor_segment(&descriptor, selector);
    return true;
}

/* Is `type` one that LAR (or, with limit set, LSL) accepts? APM vol. 3 LAR, LSL. */
static bool query_type_valid(const struct vcpu *vcpu, const struct descriptor *descriptor,
                             bool limit)
{
    static const uint16_t legacy_rights =
        1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 9 | 1 << 11 | 1 << 12;
    static const uint16_t legacy_limit = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 9 | 1 << 11;
    static const uint16_t long_rights = 1 << 2 | 1 << 9 | 1 << 11 | 1 << 12;
    static const uint16_t long_limit = 1 << 2 | 1 << 9 | 1 << 11;
    if (!descriptor_is_system(descriptor))
        return true;
    uint16_t valid = vcpu_long_mode(vcpu) ? (limit ? long_limit : long_rights)
                                          : (limit ? legacy_limit : legacy_rights);
    return valid >> descriptor_type(descriptor) & 1;
}

static bool query(struct vcpu *vcpu, uint16_t selector, struct descriptor *descriptor, bool limit,
                  bool *ok)
{
    *ok = false;
    bool found;
    if (selector_is_null(selector))
        return true;
    if (!descriptor_probe(vcpu, selector, descriptor, &found))
        return false;
    if (!found || !query_type_valid(vcpu, descriptor, limit))
        return true;
    unsigned dpl = descriptor_dpl(descriptor);
    bool conforming = descriptor_is_code(descriptor) && descriptor_is_conforming(descriptor);
    *ok = conforming || (vcpu->cpl <= dpl && selector_rpl(selector) <= dpl);
    return true;
}

bool segment_query_rights(struct vcpu *vcpu, uint16_t selector, uint32_t *rights, bool *ok)
{
    struct descriptor descriptor;
    if (!query(vcpu, selector, &descriptor, false, ok))
        return false;
    if (*ok)
        *rights = descriptor.high & 0x00ffff00; /* the limit's upper bits too: AMD's processors */
    return true;
}

bool segment_query_limit(struct vcpu *vcpu, uint16_t selector, uint32_t *limit, bool *ok)
{
    struct descriptor descriptor;
    if (!query(vcpu, selector, &descriptor, true, ok))
        return false;
    if (*ok)
        *limit = descriptor_segment(&descriptor, selector).limit;
    return true;
}

bool segment_verify(struct vcpu *vcpu, uint16_t selector, bool write, bool *ok)
{
    struct descriptor descriptor;
    if (!query(vcpu, selector, &descriptor, false, ok))
        return false;
    if (*ok)
        *ok = write ? descriptor_is_writable(&descriptor) : descriptor_is_readable(&descriptor);
    return true;
}

bool segment_linear(struct vcpu *vcpu, unsigned segment, uint64_t offset, unsigned size, bool write,
                    uint64_t *linear)
{
    if (vcpu_64bit(vcpu)) {
        *linear = offset + vcpu->segment_bases[segment];
        return true;
    }
    const struct segment *from = &vcpu->segments[segment];
    unsigned vector = segment == SEG_SS ? VECTOR_SS : VECTOR_GP;
    uint64_t last = offset + size - 1;
    bool code = from->attributes & SEGMENT_CODE;
    bool protected = vcpu_protected(vcpu) && !vcpu_v86(vcpu);
    if (!(from->attributes & SEGMENT_PRESENT))
        return raise_error(vcpu, vector, 0);
    if (protected && (write ? code || !(from->attributes & SEGMENT_WRITABLE)
                            : code && !(from->attributes & SEGMENT_WRITABLE)))
        return raise_error(vcpu, vector, 0);
    bool expand_down = !code && from->attributes & SEGMENT_EXPAND_DOWN;
    uint64_t top = from->attributes & SEGMENT_BIG ? 0xffffffff : 0xffff;
    bool inside = expand_down ? offset > from->limit && last <= top : last <= from->limit;
    if (!inside)
        return raise_error(vcpu, vector, 0);
    *linear = (uint32_t)(from->base + offset);
    return true;
}

bool port_allowed(struct vcpu *vcpu, uint16_t port, unsigned size)
{
    if (!vcpu_protected(vcpu) || (vcpu->cpl <= vcpu_iopl(vcpu) && !vcpu_v86(vcpu)))
        return true;
    uint16_t map, bits;
    if (!tss_io_map(vcpu, &map))
        return false;
    uint32_t offset = map + port / 8;
    if (offset + 1 > vcpu->tr.limit)
        return raise_error(vcpu, VECTOR_GP, 0);
    if (mmu_read(vcpu, vcpu->tr.base + offset, &bits, 2, MMU_SUPERVISOR) == MMU_FAULT)
        return false;
    if (bits >> (port % 8) & ((1u << size) - 1))
        return raise_error(vcpu, VECTOR_GP, 0);
    return true;
}
