/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing engines, and what several of them on one vcpu have in common. */
#include "cpu/engine.h"

#include <errno.h>
#include <stdlib.h>

const struct engine_ops *const engines[] = {&engine_translate, &engine_interpret, NULL};

const struct engine_options engine_options_default = {.code_cache_bytes = CODE_CACHE_DEFAULT};

static int probe(const struct engine_ops *engine, struct error *error)
{
    return engine->probe ? engine->probe(error) : 0;
}

static const struct engine_ops *choose_best(struct error *error)
{
    for (unsigned i = 0; engines[i]; i++)
        if (probe(engines[i], error) == 0)
            return engines[i];
    error_prefix(error, "no engine runs on this host; the last one tried says");
    return NULL;
}

const struct engine_ops *engine_choose(const char *name, struct error *error)
{
    if (!name || !strcmp(name, "auto"))
        return choose_best(error);
    for (unsigned i = 0; engines[i]; i++)
        if (!strcmp(engines[i]->name, name))
            return probe(engines[i], error) == 0 ? engines[i] : NULL;
    error_set(error, EINVAL, "no such engine in this build");
    return NULL;
}

static bool attached(const struct vcpu *vcpu, const struct engine_ops *engine)
{
    return vcpu->engine_data[engine->index];
}

static void renew_budget(struct vcpu *vcpu)
{
    uint64_t every = vcpu->group->engine_options->switch_every;
    vcpu->instruction_budget = every ? vcpu->instruction_count + every : ~UINT64_C(0);
}

int engine_attach(struct vcpu *vcpu, const struct engine_ops *engine, struct error *error)
{
    /* The translator brings the interpreter with it. */
    int result = attached(vcpu, engine) ? 0 : engine->create(vcpu, error);
    if (result < 0)
        return result;
    if (!vcpu->engine)
        vcpu->engine = engine;
    renew_budget(vcpu);
    return 0;
}

int engine_attach_configured(struct vcpu *vcpu, const struct engine_ops *first, struct error *error)
{
    int result = engine_attach(vcpu, first, error);
    if (!vcpu->group->engine_options->switch_every)
        return result;
    for (unsigned i = 0; engines[i] && result == 0; i++)
        if (engines[i] != first && probe(engines[i], NULL) == 0)
            result = engine_attach(vcpu, engines[i], error);
    return result;
}

void engine_detach_all(struct vcpu *vcpu)
{
    for (unsigned i = 0; engines[i]; i++)
        if (attached(vcpu, engines[i]))
            engines[i]->destroy(vcpu);
    vcpu->engine = NULL;
}

void engine_switch(struct vcpu *vcpu)
{
    const struct engine_ops *first = vcpu->engine, *next = NULL;
    bool passed = false;
    for (unsigned i = 0; engines[i] && !next; i++) {
        if (!attached(vcpu, engines[i]))
            continue;
        if (passed)
            next = engines[i];
        else if (engines[i] == vcpu->engine)
            passed = true;
        else if (first == vcpu->engine)
            first = engines[i];
    }
    vcpu->engine = next ? next : first;
    renew_budget(vcpu);
}

int engine_thread_start(struct vcpu *vcpu, struct error *error)
{
    int result = 0;
    for (unsigned i = 0; engines[i] && result == 0; i++)
        if (engines[i]->thread_start && attached(vcpu, engines[i]))
            result = engines[i]->thread_start(vcpu, error);
    return result;
}

void engine_kick(struct vcpu *vcpu)
{
    for (unsigned i = 0; engines[i]; i++)
        if (engines[i]->kick && attached(vcpu, engines[i]))
            engines[i]->kick(vcpu);
}

void engine_invalidate(struct vcpu *vcpu, uint64_t gpa_page)
{
    for (unsigned i = 0; engines[i]; i++)
        if (attached(vcpu, engines[i]))
            engines[i]->invalidate(vcpu, gpa_page);
}

/* An engine's lines, each with the vcpu and the engine in front. */
static void print_lines(const struct vcpu *vcpu, const struct engine_ops *engine, char *text,
                        FILE *stream)
{
    for (char *line; (line = strsep(&text, "\n"));)
        if (*line)
            fprintf(stream, "vcpu %u %s: %s\n", vcpu->index, engine->name, line);
}

void engine_print_stats(struct vcpu *vcpu, FILE *stream)
{
    fprintf(stream, "vcpu %u: instructions: %llu\n", vcpu->index,
            (unsigned long long)__atomic_load_n(&vcpu->instruction_count, __ATOMIC_RELAXED));
    for (unsigned i = 0; engines[i]; i++) {
        char *text = NULL;
        size_t size;
        if (!engines[i]->stats || !attached(vcpu, engines[i]))
            continue;
        FILE *lines = open_memstream(&text, &size);
        if (!lines)
            continue;
        engines[i]->stats(vcpu, lines);
        if (fclose(lines) == 0)
            print_lines(vcpu, engines[i], text, stream);
        free(text);
    }
}
