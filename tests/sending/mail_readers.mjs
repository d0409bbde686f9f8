// Reads e-mails with two readers that are not Python's: paths in, one line of JSON for each out.
import { readFileSync } from "node:fs";
import { simpleParser } from "mailparser";
import PostalMime from "postal-mime";

const addresses = (list) => (list ?? []).map(({ address }) => address);

for (const path of process.argv.slice(2)) {
  const data = readFileSync(path);
  const mail = await simpleParser(data, { skipHtmlToText: true, skipTextToHtml: true, skipImageLinks: true });
  const post = await PostalMime.parse(data);
  console.log(JSON.stringify([
    {
      subject: mail.subject ?? "", text: mail.text ?? "", html: mail.html || "",
      from: mail.from?.value[0].name, to: addresses(mail.to?.value),
      headers: mail.headerLines.map(({ key }) => key),
    },
    {
      subject: post.subject ?? "", text: post.text ?? "", html: post.html ?? "",
      from: post.from?.name, to: addresses(post.to),
      headers: post.headers.map(({ key }) => key),
    },
  ]));
}
