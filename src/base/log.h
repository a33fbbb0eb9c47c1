/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging to stderr in journald's convention: each line starts with <N>, the
 * syslog priority, when stderr is the journal, and with a level word and time
 * otherwise. One line per event, `key=value` for what a machine may look for.
 * Secrets (keys, certificates' private halves, checkpoint contents) never go here.
 */
#pragma once

#include <stdbool.h>

enum gw_level { GW_ERR = 3, GW_WARNING = 4, GW_NOTICE = 5, GW_INFO = 6, GW_DEBUG = 7 };

/* name: the daemon's, put before every message; must outlive the process. */
void gw_log_init(const char *name, enum gw_level level);
bool gw_log_on(enum gw_level level);
void gw_log(enum gw_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define gw_log_debug(...) (gw_log_on(GW_DEBUG) ? gw_log(GW_DEBUG, __VA_ARGS__) : (void)0)

/* For events that a stranger can cause: at most `burst` lines in each 10 s from
 * one place; the number suppressed is told with the next line let through. */
struct gw_log_limit {
        unsigned long long window;
        unsigned used, suppressed;
};
bool gw_log_allowed(struct gw_log_limit *limit, unsigned burst);
#define gw_log_limited(level, burst, ...)                                                                              \
        do {                                                                                                           \
                static struct gw_log_limit gw_limit_;                                                                  \
                if (gw_log_allowed(&gw_limit_, burst))                                                                 \
                        gw_log(level, __VA_ARGS__);                                                                    \
        } while (0)
