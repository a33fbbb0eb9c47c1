/* SPDX-License-Identifier: Apache-2.0 */
/* The real guest's only program besides busybox; built by build.sh, statically, because the guest has no C library. */
#include "echo.h"

int main(void) {
        return guest_echo_run(true);
}
