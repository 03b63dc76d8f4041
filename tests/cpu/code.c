/* SPDX-License-Identifier: Apache-2.0 */
#include "code.h"

#include "cpu/engine.h"

#include <stdlib.h>

static const uint8_t halt = 0xf4;

/* NACRE_TEST_ENGINE: the engine's name; without it the interpreter, the reference for all others.
 */
static int attach(struct bare *bare)
{
    struct error error;
    const char *name = getenv("NACRE_TEST_ENGINE");
    const struct engine_ops *engine = engine_choose(name ? name : "interpret", &error);
    return engine ? engine_attach(bare->vcpu, engine, &error) : -1;
}

int code_setup_long(void **state)
{
    if (bare_setup(state))
        return -1;
    bare_enter_long(*state);
    return attach(*state);
}

int code_setup_host(void **state)
{
    if (bare_setup(state))
        return -1;
    bare_take_host_model(*state);
    bare_enter_long(*state);
    return attach(*state);
}

int code_setup_protected(void **state)
{
    if (bare_setup(state))
        return -1;
    bare_enter_protected(*state);
    return attach(*state);
}

uint64_t code_stack(struct bare *bare, unsigned index, unsigned size)
{
    struct vcpu *vcpu = bare->vcpu;
    return bare_load(bare, vcpu->segments[SEG_SS].base + vcpu->registers[GPR_RSP] + index * size,
                     size);
}

int code_run(struct bare *bare, const uint8_t *code, size_t size)
{
    struct vcpu *vcpu = bare->vcpu;
    memory_write(bare->memory, CODE, code, size);
    memory_write(bare->memory, CODE + size, &halt, 1);
    for (unsigned vector = 0; vector < 64; vector++)
        memory_write(bare->memory, HANDLER + 16 * vector, &halt, 1);
    vcpu->rip = CODE;
    vcpu->run_state = VCPU_RUNNING;
    assert_int_equal(vcpu->engine->run(vcpu), VCPU_EXIT_HALT);
    if (vcpu->rip == CODE + size + 1)
        return CODE_END;
    assert_in_range(vcpu->rip, HANDLER, HANDLER + 16 * 64);
    int vector = (int)(vcpu->rip - HANDLER) / 16;
    /* Error code, then the address of the HLT. */
    unsigned word = vcpu_long_mode(vcpu) ? 8 : 4;
    bool at_end = vector == VECTOR_GP && code_stack(bare, 1, word) == CODE + size;
    return at_end ? CODE_END : vector;
}
