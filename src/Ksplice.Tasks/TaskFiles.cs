// SPDX-License-Identifier: MIT
// The files by which tasks and builds tell each other what they did. Each is read strictly: a member that is missing, null or unknown is
// damage, and no task goes on with half a file.
using System.Text.Json;
using System.Text.Json.Serialization;
using Ksplice.Build.Generation;

namespace Ksplice.Tasks;

[JsonSourceGenerationOptions(
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow
)]
[JsonSerializable(typeof(ResolvedKernel))]
[JsonSerializable(typeof(UnitList))]
[JsonSerializable(typeof(IReadOnlyList<UpdateBase>))]
[JsonSerializable(typeof(ConfigurationFile))]
[JsonSerializable(typeof(StageRecord))]
internal sealed partial class TaskFiles : JsonSerializerContext
{
    /// <summary>What to do if such a file is damaged: each is the output of a stage, whose record then does not hold any more.</summary>
    public const string Remedy = "build again, which makes it anew";
}
