/* SPDX-License-Identifier: Apache-2.0 */
/* Telling systemd that a service of Type=notify is up. sd_notify(3). */
#ifndef NACRE_CLI_NOTIFY_H
#define NACRE_CLI_NOTIFY_H

/* Does nothing where nobody waits for it. */
void notify_ready(void);

#endif
