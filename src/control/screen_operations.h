/* SPDX-License-Identifier: Apache-2.0 */
/* What a supervisor can ask about its machine's screen and keyboard. */
#ifndef NACRE_CONTROL_SCREEN_OPERATIONS_H
#define NACRE_CONTROL_SCREEN_OPERATIONS_H

#include "control/control.h"

/* To the file whose descriptor comes with the call. */
int screen_operation_shot(struct control_call *call, struct error *error);
/* Replies {"text": ...}. */
int screen_operation_text(struct control_call *call, struct error *error);
/* {"text": ...} */
int screen_operation_type(struct control_call *call, struct error *error);
/* {"keys": "ctrl-alt-del"} */
int screen_operation_key(struct control_call *call, struct error *error);

#endif
