/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why an emulator ended, for people: by which signal, or with what it wrote last, which is its complaint mostly. The
 * file is the emulator's own output, so what is read of it is bounded and made fit to be told.
 */
#include "hypervisor/lastwords.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What an emulator writes need not be UTF-8, and may be cut anywhere; what is told to others as JSON must be. */
static void make_plain(char *text) {
        json_t *string = json_string(text);

        for (char *at = text; !string && *at; at++)
                if ((unsigned char)*at >= 0x80)
                        *at = '?';
        json_decref(string);
}

static void read_end(const char *log, char *out, size_t size) {
        int fd = open(log, O_RDONLY | O_CLOEXEC);
        ssize_t n = 0;

        if (fd >= 0) {
                if (lseek(fd, -(off_t)(size - 1), SEEK_END) < 0)
                        lseek(fd, 0, SEEK_SET);
                n = read(fd, out, size - 1);
                close(fd);
        }
        while (n > 0 && out[n - 1] == '\n')
                n--;
        out[n < 0 ? 0 : n] = '\0';
}

/* The last line; of a copy that it could not take, the line before says why. */
static void last_words(const char *log, char *out, size_t size) {
        char text[1024], *line;

        read_end(log, text, sizeof text);
        line = strrchr(text, '\n');
        if (line && strstr(line, "load of migration failed")) {
                *line = '\0';
                line = strrchr(text, '\n');
        }
        snprintf(out, size, "%.*s", (int)size - 1, line ? line + 1 : text);
        make_plain(out);
}

void gw_end_reason(const char *log, int code, int status, char *out, size_t size) {
        char words[160];

        last_words(log, words, sizeof words);
        if (code == CLD_KILLED || code == CLD_DUMPED)
                snprintf(out, size, "the emulator was killed by signal %d", status);
        else if (code == CLD_EXITED && status != 0)
                snprintf(out, size, "the emulator ended with status %d: %s", status, words);
        else
                snprintf(out, size, "the emulator ended");
}
