package dev.tokenmint.client;

import com.nimbusds.jose.util.JSONArrayUtils;
import com.nimbusds.jose.util.JSONObjectUtils;
import java.io.IOException;
import java.net.ConnectException;
import java.net.UnknownHostException;
import java.net.http.HttpTimeoutException;
import java.nio.channels.UnresolvedAddressException;
import java.text.ParseException;
import java.time.Duration;
import javax.net.ssl.SSLException;

/** The fault of an answer that is no key set, and the causes of others in words. */
final class FetchFailure extends IOException {
    private static final long serialVersionUID = 1L;
    private static final int MAX_DETAIL = 200; // characters of another library's message
    private static final int MAX_CAUSES = 20; // errors of one chain that are looked at

    FetchFailure(String fault) {
        super(fault);
    }

    /** Tells why a fetch failed: DNS, connection refused, TLS, time, or the answer's fault. */
    static String causeOf(IOException error, Duration limit) {
        Throwable found = error;
        boolean connecting = false;
        for (int count = 0; count < MAX_CAUSES && found != null; count++, found = found.getCause()) {
            if (found instanceof FetchFailure) {
                return found.getMessage();
            }
            if (found instanceof UnknownHostException || found instanceof UnresolvedAddressException) {
                return "the host name can't be resolved (DNS)";
            }
            if (found instanceof SSLException) {
                return clipped("TLS failed: " + found.getMessage());
            }
            if (found instanceof HttpTimeoutException) {
                return "there was no answer within " + limit.toSeconds() + " s";
            }
            connecting |= found instanceof ConnectException;
        }
        return connecting ? "the connection was refused" : clipped("the connection failed: " + error.getMessage());
    }

    static boolean isJson(String text) {
        try {
            return text.strip().startsWith("[")
                    ? JSONArrayUtils.parse(text) != null
                    : JSONObjectUtils.parse(text) != null;
        } catch (ParseException other) {
            return false;
        }
    }

    private static String clipped(String text) {
        return text.substring(0, Math.min(text.length(), MAX_DETAIL));
    }
}
