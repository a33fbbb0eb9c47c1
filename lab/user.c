/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who emulators of a lab run as: a number that no host gives to anybody, without a name. It has to get at the programs
 * of this tree, which a tree in somebody's closed home does not allow; emulators run as the agents there.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "lab/lab.h"

#define NOBODYS "59400:59400"

/* May others go through all folders above, and read and run it? */
static bool is_open_to_all(const char *program) {
        char path[PATH_MAX];
        struct stat st;

        if (!realpath(program, path) || stat(path, &st) < 0 || (st.st_mode & 05) != 05)
                return false;
        for (char *slash = strrchr(path, '/'); slash && slash > path; slash = strrchr(path, '/')) {
                *slash = '\0';
                if (stat(path, &st) < 0 || !(st.st_mode & S_IXOTH))
                        return false;
        }
        return true;
}

const char *gw_lab_user(void) {
        char program[GW_LAB_PATH];
        struct gw_error error = {0};

        if (gw_lab_program("godwit-synth", program, &error) == 0 && !is_open_to_all(program)) {
                fprintf(stderr, "emulators run as root here: no other user may get at %s\n", program);
                return "";
        }
        return NOBODYS;
}
