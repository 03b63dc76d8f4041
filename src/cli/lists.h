/* SPDX-License-Identifier: Apache-2.0 */
/* What there is to choose from, for `--cpu help` and the like (list_*) and for completion by number
 * (*_word: NULL past the last). */
#ifndef NACRE_CLI_LISTS_H
#define NACRE_CLI_LISTS_H

void list_models(void);
const char *model_word(unsigned index);

void list_engines(void);
const char *engine_word(unsigned index);

void list_traces(void);
const char *trace_word(unsigned index);

#endif
