/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/time.h"

/* The process has one standard error, so this is one per process too. */
static struct {
        const char *name;
        enum gw_level level;
        bool journal;
} sink = {.name = "godwit", .level = GW_INFO};

static const char *const level_words[] = {
        [GW_ERR] = "error", [GW_WARNING] = "warning", [GW_NOTICE] = "notice", [GW_INFO] = "info", [GW_DEBUG] = "debug",
};

void gw_log_init(const char *name, enum gw_level level) {
        sink.name = name;
        sink.level = level;
        sink.journal = getenv("JOURNAL_STREAM") != NULL;
}

bool gw_log_on(enum gw_level level) {
        return level <= sink.level;
}

static int log_head(char *line, size_t size, enum gw_level level) {
        struct timespec now;
        struct tm tm;

        if (sink.journal)
                return snprintf(line, size, "<%d>%s: ", (int)level, sink.name);
        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &tm);
        return snprintf(line, size, "%02d:%02d:%02d.%06ld %s %s: ", tm.tm_hour, tm.tm_min, tm.tm_sec,
                        now.tv_nsec / 1000, level_words[level], sink.name);
}

/* One write(2) a line, so that lines of several processes do not mix. */
void gw_log(enum gw_level level, const char *format, ...) {
        char line[1024];
        va_list args;
        int n, m;

        if (!gw_log_on(level))
                return;
        n = log_head(line, sizeof line, level);
        va_start(args, format);
        m = vsnprintf(line + n, sizeof line - (size_t)n, format, args);
        va_end(args);
        n += m < 0 ? 0 : m;
        if ((size_t)n > sizeof line - 2)
                n = (int)sizeof line - 2;
        /* Words of strangers neither begin lines nor steer terminals. */
        for (char *c = line; c < line + n; c++)
                if ((unsigned char)*c < ' ' || *c == 0x7f)
                        *c = ' ';
        line[n++] = '\n';
        if (write(STDERR_FILENO, line, (size_t)n) < 0)
                return;
}

bool gw_log_allowed(struct gw_log_limit *limit, unsigned burst) {
        unsigned long long window = gw_mono_now().ns / (10 * GW_NS_PER_S);

        if (window != limit->window) {
                if (limit->suppressed)
                        gw_log(GW_WARNING, "%u similar lines were suppressed", limit->suppressed);
                *limit = (struct gw_log_limit){.window = window};
        }
        if (limit->used < burst) {
                limit->used++;
                return true;
        }
        limit->suppressed++;
        return false;
}
