package dev.tokenmint.client;

import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.regex.Pattern;

/** Tells addresses of this machine from others, without asking the name service. */
final class Loopback {
    private static final Pattern LITERAL = Pattern.compile("[0-9.]+|\\[?[0-9a-fA-F:]+\\]?");

    private Loopback() {}

    static boolean is(String host) {
        if (host == null) {
            return false;
        }
        try {
            return host.equals("localhost")
                    || (LITERAL.matcher(host).matches() && InetAddress.getByName(host).isLoopbackAddress());
        } catch (UnknownHostException none) {
            return false;
        }
    }
}
