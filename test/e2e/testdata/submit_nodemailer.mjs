// Submits one message for each way in the settings, by nodemailer.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const { module, ca, ways, user, pass } = JSON.parse(process.argv[2]);
const nodemailer = createRequire(import.meta.url)(module);
for (const { port, secure, method, dsn } of ways) {
  const transport = nodemailer.createTransport({
    host: "localhost", port, secure, requireTLS: !secure, authMethod: method,
    auth: { user, pass }, tls: { ca: readFileSync(ca) },
  });
  const info = await transport.sendMail({
    from: "Alice Ünal <alice@example.com>", to: "Bob <bob@remote.test>", bcc: dsn ? undefined : "carol@remote.test",
    subject: `nodemailer ${method} ü`, text: ".leading dot\nhello ü\n", dsn,
    attachments: [{ filename: "data ü.bin", content: Buffer.alloc(100_000, 7) }],
  });
  console.log(info.response);
  transport.close();
}
