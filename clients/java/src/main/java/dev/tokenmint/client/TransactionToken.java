package dev.tokenmint.client;

import java.time.Instant;
import java.util.List;
import java.util.Map;

/**
 * What a verified transaction token says. Only a {@link TxnTokenVerifier} makes them.
 *
 * @param txn the id of the transaction
 * @param subject the principal of the transaction
 * @param scopes its purpose
 * @param requester the workload that requested the token
 * @param tctx the transaction context: the same for all workloads of the transaction
 * @param rctx the request context
 * @param expiresAt when it stops being valid
 * @param claims all of them
 */
public record TransactionToken(
        String txn,
        String subject,
        List<String> scopes,
        String requester,
        Map<String, Object> tctx,
        Map<String, Object> rctx,
        Instant expiresAt,
        Map<String, Object> claims) {}
