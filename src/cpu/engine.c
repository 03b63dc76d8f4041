/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/engine.h"

const struct engine_ops *const engines[] = {&engine_interpret, NULL};
