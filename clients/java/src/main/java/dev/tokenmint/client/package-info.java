/**
 * Gets tokens from tokenmint, keeps them fresh, and verifies them offline.
 *
 * <p>A caller makes a {@link dev.tokenmint.client.TokenmintClient} and a {@link dev.tokenmint.client.TokenSource}; a
 * service makes a {@link dev.tokenmint.client.Verifier}. Refusals are a {@link
 * dev.tokenmint.client.TokenmintException} with a stable reason to branch on.
 */
package dev.tokenmint.client;
