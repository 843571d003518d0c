// Writes a stream and a file of Arrow C++ 0.14 or 0.15: see README.md.
#include <arrow/api.h>
#include <arrow/io/api.h>
#include <arrow/ipc/api.h>
#include <iostream>
#include <string>
using namespace arrow;
#define CK(x) do { Status s_ = (x); if (!s_.ok()) { std::cerr << s_.ToString() << std::endl; return 1; } } while (0)
int main(int argc, char** argv) {
  std::string stem = argv[1];
  std::string longt; for (int i = 0; i < 4; i++) longt += "a text that is not inlined, ";
  Int32Builder ib; CK(ib.Append(1)); CK(ib.AppendNull()); CK(ib.Append(3));
  StringBuilder sb; CK(sb.Append("a")); CK(sb.AppendNull()); CK(sb.Append(longt));
  std::shared_ptr<Array> i, s, c, l, ids, x;
  CK(ib.Finish(&i)); CK(sb.Finish(&s));
  StringDictionaryBuilder dict(default_memory_pool()); CK(dict.Append("x")); CK(dict.Append(longt)); CK(dict.Append("x"));
  CK(dict.Finish(&c));
  auto vb = std::make_shared<Int64Builder>();
  ListBuilder lb(default_memory_pool(), vb); CK(lb.Append()); CK(vb->Append(1)); CK(vb->AppendNull()); CK(lb.AppendNull()); CK(lb.Append());
  CK(lb.Finish(&l));
  auto n = std::make_shared<NullArray>(3);
  Int8Builder tb; CK(tb.Append(0)); CK(tb.Append(1)); CK(tb.Append(0)); CK(tb.Finish(&ids));
  Int64Builder xb; CK(xb.Append(1)); CK(xb.Append(2)); CK(xb.Append(3)); CK(xb.Finish(&x));
  std::shared_ptr<Array> u; CK(UnionArray::MakeSparse(*ids, std::vector<std::shared_ptr<Array>>{x, s}, std::vector<std::string>{"p", "q"}, &u));
  auto sc = schema({field("i", int32()), field("s", utf8()), field("c", c->type()), field("n", null()), field("l", l->type()), field("u", u->type())});
  auto batch = RecordBatch::Make(sc, 3, {i, s, c, n, l, u});
  for (int k = 0; k < 2; k++) {
    std::shared_ptr<io::FileOutputStream> out; 
    CK(io::FileOutputStream::Open(stem + (k ? ".arrow" : ".arrows"), &out));
    std::shared_ptr<ipc::RecordBatchWriter> w;
    if (k) CK(ipc::RecordBatchFileWriter::Open(out.get(), sc, &w)); else CK(ipc::RecordBatchStreamWriter::Open(out.get(), sc, &w));
    CK(w->WriteRecordBatch(*batch)); CK(w->WriteRecordBatch(*batch->Slice(1))); CK(w->Close()); CK(out->Close());
  }
  return 0;
}
