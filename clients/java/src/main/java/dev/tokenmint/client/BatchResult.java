package dev.tokenmint.client;

/** What became of one target of a batch. */
public sealed interface BatchResult {
    /** It was minted. */
    record Minted(Token token) implements BatchResult {}

    /** It was refused. */
    record Refused(CallException error) implements BatchResult {}
}
