/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries a copy from the emulator that sends it, in the clear over a unix socket of this host, to the emulator that
 * receives it, over TLS. A program of its own, since a copy outlives the agent: the agent's own executable, run with
 * the word GW_CARRIER_WORD (hv/carrier.c starts it).
 */
#pragma once

#define GW_CARRIER_WORD "carry"
#define GW_CARRIER_READY "ready" /* all else that it says is a complaint */

/*
 * argv: the word, where to (an endpoint), the name in the certificate there, the folder with our certificates (as
 * QEMU names them), the unix socket to listen on, the descriptor to report to, a line at a time. The exit status.
 */
int gw_carrier_main(int argc, char **argv);
