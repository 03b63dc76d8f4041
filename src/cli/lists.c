/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/lists.h"

#include "base/trace.h"
#include "cpu/control.h"
#include "cpu/engine.h"

#include <stdio.h>
#include <string.h>

#define LIST_WIDTH 78

/* A line about each model, and its features below: those that it has here, if it is for this host.
 */
void list_models(void)
{
    for (unsigned i = 0; cpu_model_at(i); i++) {
        const struct cpu_model *model = cpu_model_at(i);
        unsigned position = 0, column = LIST_WIDTH;
        struct cpu_model fitted;
        struct error error;
        bool usable = cpu_model_fit(model, &fitted, &error) == 0;
        printf("%-12s %s%s", model->name, model->description, usable ? "" : "; not on this host");
        for (const char *name; (name = cpu_model_feature(usable ? &fitted : model, &position));) {
            unsigned width = (unsigned)strlen(name) + 1;
            if (column + width > LIST_WIDTH)
                column = (unsigned)printf("\n%-12s", "") - 1;
            column += (unsigned)printf(" %s", name);
        }
        printf("\n");
    }
}

const char *model_word(unsigned index)
{
    const struct cpu_model *model = cpu_model_at(index);
    return model ? model->name : NULL;
}

void list_engines(void)
{
    struct error error;
    printf("%-12s the first of these that this host can run (default)\n", "auto");
    for (unsigned i = 0; engines[i]; i++) {
        bool usable = engine_choose(engines[i]->name, &error);
        printf("%-12s %s%s%s\n", engines[i]->name, engines[i]->summary,
               usable ? "" : "; not here: ", usable ? "" : error.message);
    }
}

const char *engine_word(unsigned index)
{
    if (index == 0)
        return "auto";
    return engines[index - 1] ? engines[index - 1]->name : NULL;
}

void list_traces(void)
{
    for (const struct trace_name *entry = trace_names; entry->name; entry++)
        printf("%-12s %s\n", entry->name, entry->help);
}

const char *trace_word(unsigned index)
{
    return trace_names[index].name;
}
