import com.jcraft.jsch.ChannelSftp;
import com.jcraft.jsch.JSch;
import com.jcraft.jsch.Session;

/** Moves one file each way with JSch, and lists the folder. */
public class MoveJSch {
    public static void main(String[] a) throws Exception {
        String host = a[0], known = a[2], user = a[3], password = a[4];
        String folder = a[5], local = a[6], up = a[7], down = a[8], got = a[9];
        JSch jsch = new JSch();
        jsch.setKnownHosts(known);
        Session session = jsch.getSession(user, host, Integer.parseInt(a[1]));
        session.setPassword(password);
        session.setConfig("PreferredAuthentications", "password");
        session.connect(20000);
        if (!session.getHostKey().getType().startsWith("ecdsa-")) {
            throw new Exception("host key is of type " + session.getHostKey().getType());
        }
        try {
            ChannelSftp sftp = (ChannelSftp) session.openChannel("sftp");
            sftp.connect(20000);
            sftp.cd(folder);
            sftp.put(local, up);
            sftp.get(down, got);
            for (Object entry : sftp.ls(".")) {
                System.out.println(((ChannelSftp.LsEntry) entry).getFilename());
            }
            sftp.exit();
        } finally {
            session.disconnect();
        }
    }
}
